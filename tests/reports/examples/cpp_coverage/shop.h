// A header that two sources include: its lines are in both of their coverage data.
#pragma once

inline int rebate(int total) {
    if (total > 100) return total * 9 / 10;
    return total;
}

template <class T>
T twice(T value) {
    return value + value;
}
