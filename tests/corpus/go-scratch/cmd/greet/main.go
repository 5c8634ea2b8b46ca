// Command greet says who it is and as whom it runs.
package main

import (
	"fmt"
	"os"
	"strings"
)

var version = "unset"

func main() {
	names := "world"
	if len(os.Args) > 1 {
		names = strings.Join(os.Args[1:], ", ")
	}
	fmt.Printf("greet %s: hello, %s (uid %d)\n", version, names, os.Getuid())
}
