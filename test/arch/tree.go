package arch

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// tree is what Check looks at.
type tree struct {
	folders []string  // below the root, with slashes
	sources []*source // every Go file, whatever its build tags
}

// source is one Go file.
type source struct {
	path  string // below the root, with slashes
	lines int
	ast   *ast.File
}

// pkg returns the folder of the file, which is how the tables name its package.
func (s *source) pkg() string { return path.Dir(s.path) }

// test reports whether the file is compiled into tests only.
func (s *source) test() bool { return strings.HasSuffix(s.path, "_test.go") }

// imports returns the paths that the file imports.
func (s *source) imports() []string {
	var paths []string
	for _, spec := range s.ast.Imports {
		if name, err := strconv.Unquote(spec.Path.Value); err == nil { // else the parser had refused it
			paths = append(paths, name)
		}
	}
	return paths
}

// read parses what is below root. It leaves out what the go command ignores, and the folders at the top that
// .gitignore names (`/bin/`).
func read(root fs.FS) (*tree, error) {
	gitignore, err := fs.ReadFile(root, ".gitignore")
	if err != nil {
		return nil, err
	}
	var t tree
	err = fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == ".":
			return nil
		case entry.IsDir() && (goIgnores(path.Base(name)) || gitIgnores(gitignore, name)):
			return fs.SkipDir
		case entry.IsDir():
			t.folders = append(t.folders, name)
		case path.Ext(name) == ".go":
			s, err := parseSource(root, name)
			if err != nil {
				return err
			}
			t.sources = append(t.sources, s)
		}
		return nil
	})
	return &t, err
}

func goIgnores(folder string) bool {
	return strings.HasPrefix(folder, ".") || strings.HasPrefix(folder, "_") || folder == "testdata"
}

func gitIgnores(gitignore []byte, folder string) bool {
	return bytes.Contains(append([]byte("\n"), gitignore...), []byte("\n/"+folder+"/\n"))
}

func parseSource(root fs.FS, name string) (*source, error) {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return nil, err
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	return &source{path: name, lines: bytes.Count(text, []byte("\n")), ast: file}, nil
}
