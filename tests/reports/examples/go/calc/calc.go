package calc

import "errors"

// Price of count pieces.
func Price(count, each int) (int, error) {
	if count < 0 {
		return 0, errors.New("count is negative")
	}
	return count * each, nil
}
