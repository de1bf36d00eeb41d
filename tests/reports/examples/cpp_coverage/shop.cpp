#include "shop.h"

int price(int count, int each) {
    if (count < 0 || each < 0) {
        return -1;
    }
    return rebate(count * each);
}

int never_called(int count) {
    int sum = 0;
    for (int i = 0; i < count; ++i)
        sum += twice(i);
    return sum;
}
