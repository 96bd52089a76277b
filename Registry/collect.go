package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	data = "/var/lib/registry"
	// Whoever wants unused blobs removed puts this file, with a word to know the report by, into the data and
	// restarts the registry.
	request = data + "/collect"
)

// report is one line of the log: bytes in the data, and why collecting failed if it did.
type report struct {
	Request string `json:"request"`
	Before  int64  `json:"before"`
	After   int64  `json:"after"`
	Error   string `json:"error,omitempty"`
}

// collectOnce runs distribution's own garbage collector before the registry serves, if it was asked for.
//
// So nothing is pushed meanwhile, and whatever becomes of who asked, the registry serves afterwards: the
// request goes first, and the collector is a process of its own, whose failure is only reported.
func collectOnce(config string) {
	word, err := os.ReadFile(request)
	if err != nil || os.Remove(request) != nil {
		return
	}
	found := report{Request: string(word), Before: size()}
	var said bytes.Buffer
	collector := exec.Command(os.Args[0], "garbage-collect", "--quiet", config)
	collector.Stderr = &said
	if err := collector.Run(); err != nil {
		found.Error = err.Error() + ": " + strings.TrimSpace(said.String())
	}
	found.After = size()
	_ = json.NewEncoder(os.Stdout).Encode(map[string]report{"collected": found})
}

// size is the bytes of all files in the data.
func size() int64 {
	var sum int64
	_ = filepath.WalkDir(data, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			if info, err := entry.Info(); err == nil {
				sum += info.Size()
			}
		}
		return nil
	})
	return sum
}
