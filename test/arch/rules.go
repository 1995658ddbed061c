package arch

import (
	"errors"
	"fmt"
	"go/ast"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// module is the path that our own packages begin with.
const module = "elstore"

// Check reads the tree below root and returns a sentence for every place that breaks a rule, sorted. The error
// is one of reading or parsing.
func Check(root fs.FS) ([]string, error) {
	t, err := read(root)
	if err != nil {
		return nil, err
	}
	if len(t.sources) == 0 {
		return nil, errors.New("no Go file is below the root")
	}
	findings := slices.Concat(folderNames(t), packageComments(t))
	for _, s := range t.sources {
		for _, rule := range []func(*source) []string{length, ours, others, sleeps, skips} {
			for _, what := range rule(s) {
				findings = append(findings, s.path+" "+what)
			}
		}
	}
	slices.Sort(findings)
	return slices.Compact(findings), nil
}

// folderNames holds the top of the tree to the fixed folders, and all of it to names that say something.
func folderNames(t *tree) (findings []string) {
	for _, folder := range t.folders {
		if !strings.Contains(folder, "/") && !slices.Contains(list(folders), folder) {
			findings = append(findings, folder+" is not one of the folders at the top: "+folders)
		}
		if slices.Contains(list(unwanted), path.Base(folder)) {
			findings = append(findings, folder+" has a name that does not say what it provides")
		}
	}
	return findings
}

// packageComments wants a comment that begins with "Package name", or "Command name" for a program, in one
// file of every package; in a package of tests only, in one of those.
func packageComments(t *tree) (findings []string) {
	commented, code := map[string]bool{}, map[string]bool{}
	for _, s := range t.sources {
		if !s.test() {
			code[s.pkg()] = true
		}
	}
	for _, s := range t.sources {
		if s.test() && code[s.pkg()] {
			continue
		}
		words := strings.Fields(s.ast.Doc.Text())
		if len(words) > 2 && (words[0] == "Package" && words[1] == s.ast.Name.Name || words[0] == "Command" && s.ast.Name.Name == "main") {
			commented[s.pkg()] = true
		}
	}
	for _, s := range t.sources {
		if !commented[s.pkg()] {
			findings = append(findings, s.pkg()+" has no package comment")
		}
	}
	return findings
}

// length holds a file to what a reader can keep in mind.
func length(s *source) []string {
	if s.test() || s.lines <= longest {
		return nil
	}
	return []string{fmt.Sprintf("has %d lines, over %d", s.lines, longest)}
}

// ours holds the file to the table of imports between our packages.
func ours(s *source) (findings []string) {
	r, ok := find(parse(imports), s.pkg())
	if !ok {
		return []string{"belongs to a package without a row in the table of imports (test/arch/table.go)"}
	}
	if s.test() {
		return nil
	}
	for _, name := range s.imports() {
		if target, ok := strings.CutPrefix(name, module+"/"); ok && !fits(r.right, target) {
			findings = append(findings, fmt.Sprintf("imports %s; %s may import %s", target, s.pkg(), or(r.right, "nothing of ours")))
		}
	}
	return findings
}

// others holds the file to the table of who may import packages that are somebody's business.
func others(s *source) (findings []string) {
	if s.test() {
		return nil
	}
	rows := parse(reserved)
	for _, name := range s.imports() {
		if r, ok := find(rows, name); ok && !fits(r.right, s.pkg()) {
			findings = append(findings, fmt.Sprintf("imports %s, which is for %s", name, or(r.right, "nobody")))
		}
	}
	return findings
}

// or joins words, or says what none of them means.
func or(words []string, none string) string {
	if len(words) == 0 {
		return none
	}
	return strings.Join(words, ", ")
}

// sleeps finds calls of time.Sleep: waiting has a channel, a timer or a context to wait for, and a test has
// testing/synctest.
func sleeps(s *source) []string {
	return uses(s, "calls time.Sleep", func(call *ast.SelectorExpr) bool {
		receiver, ok := call.X.(*ast.Ident)
		return ok && receiver.Name == "time" && call.Sel.Name == "Sleep"
	})
}

// skips finds tests that skip by themselves, where CI=true can't turn it into a failure.
func skips(s *source) []string {
	if s.pkg() == "test/need" || !slices.Contains(s.imports(), "testing") {
		return nil
	}
	return uses(s, "skips a test: say what it needs through test/need", func(call *ast.SelectorExpr) bool {
		return slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, call.Sel.Name)
	})
}

// uses returns the finding if the file uses what match finds.
func uses(s *source, finding string, match func(*ast.SelectorExpr) bool) (findings []string) {
	ast.Inspect(s.ast, func(n ast.Node) bool {
		if call, ok := n.(*ast.SelectorExpr); ok && match(call) && findings == nil {
			findings = []string{finding}
		}
		return findings == nil
	})
	return findings
}
