// Command registry is the distribution project's registry with what this cluster uses of it: a password
// file and a folder. Without the clients of three clouds it is a fraction of upstream's size.
package main

import (
	"os"

	"github.com/distribution/distribution/v3/registry"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		collectOnce(os.Args[2])
	}
	if err := registry.RootCmd.Execute(); err != nil {
		os.Exit(1)
	}
}
