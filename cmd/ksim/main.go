// Command ksim simulates Kubernetes clusters under failure.
package main

import "os"

func main() { os.Exit(Main(os.Args[1:], systemStreams())) }
