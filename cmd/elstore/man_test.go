package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMan(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man1")
	succeeds(t, "man", dir)
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil || len(pages) < 50 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "elstore-serve.1"))
	if err != nil || !strings.Contains(string(page), "iscsi-listen") || strings.Contains(string(page), "Auto generated") {
		t.Errorf("%v: %.300s", err, page)
	}
	again := filepath.Join(t.TempDir(), "man1")
	succeeds(t, "man", again)
	if other, err := os.ReadFile(filepath.Join(again, "elstore-serve.1")); err != nil || string(other) != string(page) {
		t.Errorf("made again, a page is another: %v", err)
	}
}
