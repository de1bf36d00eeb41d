package example;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Disabled;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PriceTest {
    private static int tries = 0;

    @Test
    void good() {
        System.out.println("<testcase/> ]]> \u001b[31mred");
        assertEquals(10, 2 * 5);
    }

    @Test
    void wrong() {
        assertEquals(16, 3 * 5, "fifteen <is> not & \"sixteen\"");
    }

    @Test
    void throwsSomething() {
        throw new IllegalStateException("no database");
    }

    @Test
    @Disabled("later")
    void disabled() {}

    @Test
    void flaky() {
        assertTrue(++tries > 1, "fails at first");
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3})
    void perNumber(int number) {
        assertTrue(number != 2, "two is wrong");
    }
}
