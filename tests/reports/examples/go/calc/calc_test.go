package calc

import (
	"fmt"
	"testing"
)

func TestPrice(t *testing.T) {
	if got, _ := Price(2, 5); got != 10 {
		t.Errorf("got %d", got)
	}
}

func TestWrong(t *testing.T) {
	if got, _ := Price(3, 5); got != 16 {
		t.Errorf("got %d, wanted 16 <on purpose>", got)
	}
}

func TestTable(t *testing.T) {
	for _, count := range []int{1, 2, 3} {
		t.Run(fmt.Sprintf("count=%d", count), func(t *testing.T) {
			if count == 2 {
				t.Fatal("two is wrong")
			}
		})
	}
}

func TestSkipped(t *testing.T) {
	t.Skip("later")
}

func TestOutput(t *testing.T) {
	fmt.Println("\x1b[31mred\x1b[0m <output>")
}
