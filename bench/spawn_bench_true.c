/* The cheapest program there is (linked statically): what is measured is the spawning. */
int main(void) {
    return 0;
}
