#include <cstdio>

#include "shop.h"

int price(int count, int each);

int main() {
    const int total = price(2, 5) + rebate(50);
    std::printf("%d %d\n", total, twice(3));
    return total == 60 ? 0 : 1;
}
