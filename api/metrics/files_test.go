package metrics

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var metricName = regexp.MustCompile(`\b(?:elstore|go|process)_[a-z_]+\b`)

// asked returns the metrics that the expressions of a file ask for. YAML is JSON too.
func asked(t *testing.T, file string) (names []string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := yaml.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, below := range v {
				if expr, ok := below.(string); ok && key == "expr" {
					names = append(names, metricName.FindAllString(expr, -1)...)
				}
				walk(below)
			}
		case []any:
			for _, below := range v {
				walk(below)
			}
		}
	}
	walk(doc)
	slices.Sort(names)
	return slices.Compact(names)
}

func TestAlerts(t *testing.T) {
	data, err := os.ReadFile("alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(data, &file); err != nil || len(file.Groups) != 1 {
		t.Fatalf("%v: %d groups", err, len(file.Groups))
	}
	seen := map[string]bool{}
	for _, r := range file.Groups[0].Rules {
		if seen[r.Alert] || !strings.HasPrefix(r.Alert, "Elstore") {
			t.Errorf("the alert %q", r.Alert)
		}
		seen[r.Alert] = true
		if strings.Count(r.Expr, "(") != strings.Count(r.Expr, ")") || !regexp.MustCompile(` (==|>|<) [a-z0-9_.]+$`).MatchString(r.Expr) {
			t.Errorf("%s: %s compares nothing", r.Alert, r.Expr)
		}
		if s := r.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s: severity %q", r.Alert, s)
		}
		if r.Annotations["summary"] == "" || r.Annotations["action"] == "" {
			t.Errorf("%s doesn't say what is wrong and what to do", r.Alert)
		}
	}
}
