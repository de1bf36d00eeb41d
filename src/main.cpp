#include "app/app.h"

int main(int argc, char** argv) {
    return wa::app::run({argv + 1, argv + argc});
}
