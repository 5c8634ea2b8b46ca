#include <cstdlib>
#include <iostream>
#include <vector>

int main(int argc, char **argv) {
    const int limit = argc > 1 ? std::atoi(argv[1]) : 20;
    std::vector<bool> composite(limit + 1);
    for (int n = 2; n <= limit; ++n) {
        if (composite[n]) continue;
        std::cout << n << ' ';
        for (long m = static_cast<long>(n) * n; m <= limit; m += n) composite[m] = true;
    }
    std::cout << '\n';
}
