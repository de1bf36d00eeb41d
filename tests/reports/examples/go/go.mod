module example

go 1.19

require github.com/jstemmer/go-junit-report/v2 v2.1.0 // indirect
