//go:build tools

package tools

import _ "github.com/jstemmer/go-junit-report/v2"
