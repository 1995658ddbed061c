package fault

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// declared returns the constants of type Code that code.go declares, by name, with their values. It reads
// the source, since a running program can't list its own constants.
func declared(t *testing.T) map[string]Code {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "code.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	codes := map[string]Code{}
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		for _, spec := range group.Specs {
			constant := spec.(*ast.ValueSpec)
			if kind, ok := constant.Type.(*ast.Ident); !ok || kind.Name != "Code" {
				t.Fatalf("constant %s is not declared as a Code", constant.Names[0])
			}
			value, err := strconv.Unquote(constant.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			codes[constant.Names[0].Name] = Code(value)
		}
	}
	return codes
}

func TestEveryCodeHasAKind(t *testing.T) {
	codes := declared(t)
	if len(codes) < 40 {
		t.Fatalf("found %d codes in code.go, which has more: the parsing is wrong", len(codes))
	}
	for name, code := range codes {
		if _, ok := kinds[code]; !ok {
			t.Errorf("%s has no entry in kinds", name)
		}
	}
	if len(kinds) != len(codes) {
		t.Errorf("kinds has %d entries for %d codes: two share a value, or one is no constant", len(kinds), len(codes))
	}
}

func TestCodesAreSpeltAsTheirNames(t *testing.T) {
	// Existing clients compare this one as the source system spells it.
	spelling := map[string]Code{"VolumeAlreadyLocked": "VolumeAlredyLocked"}
	for name, code := range declared(t) {
		want := Code(name)
		if s, ok := spelling[name]; ok {
			want = s
		}
		if code != want {
			t.Errorf("%s = %q, want %q", name, code, want)
		}
	}
}

func TestEveryCodeStandsInItsOwnFile(t *testing.T) {
	for _, name := range []string{"doc.go", "error.go", "kind.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok {
				if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "Code" {
					t.Errorf("%s declares the code %s, which the other tests would not see", name, spec.Names[0])
				}
			}
			return true
		})
	}
}

func TestKindString(t *testing.T) {
	var names []string
	for k := Internal; k <= NoSpace; k++ {
		name := k.String()
		if name == "unknown" || name != strings.ToLower(name) || slices.Contains(names, name) {
			t.Errorf("Kind(%d).String() = %q, want a lower-case name of its own", k, name)
		}
		names = append(names, name)
	}
	if got := (NoSpace + 1).String(); got != "unknown" {
		t.Errorf("the kind after the last is %q, want unknown: the loop above misses a kind", got)
	}
}
