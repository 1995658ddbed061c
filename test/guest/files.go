package guest

import (
	"bytes"
	"context"
	"debug/elf"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// libraries is where the guest's dynamic linker looks, and where packages have them.
var libraries = []string{"lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"}

// linker is the dynamic linker that programs ask for.
const linker = "lib64/ld-linux-x86-64.so.2"

// packPrograms adds the programs, with every shared library that they need.
func packPrograms(root string, out *archive) error {
	needed := map[string]bool{path.Base(linker): true}
	for _, name := range programs {
		if err := packELF(filepath.Join(root, name), name, out, needed); err != nil {
			return err
		}
	}
	for done := map[string]bool{}; len(done) < len(needed); {
		for _, name := range slices.Sorted(maps.Keys(needed)) {
			if done[name] {
				continue
			}
			done[name] = true
			if err := packELF(find(root, name), path.Join(libraries[0], name), out, needed); err != nil {
				return err
			}
		}
	}
	out.link(linker, "/"+path.Join(libraries[0], path.Base(linker)))
	return nil
}

// find returns the path of a shared library, one that isn't there where there is none.
func find(root, name string) string {
	for _, dir := range libraries {
		if file := filepath.Join(root, dir, name); exists(file) {
			return file
		}
	}
	return filepath.Join(root, libraries[0], name)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// packELF adds a program or library and notes what it needs.
func packELF(file, name string, out *archive, needed map[string]bool) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	parsed, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	imported, err := parsed.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, library := range imported {
		needed[library] = true
	}
	out.file(name, 0o755, data)
	return nil
}

// packModules adds the modules and what they depend on, with the list that init loads them by.
func packModules(root string, out *archive) error {
	files := map[string]string{} // by the module's name
	err := filepath.WalkDir(filepath.Join(root, "lib", "modules"), func(file string, _ os.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(file), ".ko"); ok {
			files[strings.ReplaceAll(name, "-", "_")] = file
		}
		return err
	})
	if err != nil {
		return err
	}
	var list []string
	var add func(name string) error
	add = func(name string) error {
		place := "/lib/modules/" + name + ".ko"
		if slices.Contains(list, place) {
			return nil
		}
		data, err := os.ReadFile(files[name])
		if err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
		dependencies, err := dependenciesOf(data)
		if err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
		for _, dependency := range dependencies {
			if err := add(dependency); err != nil {
				return err
			}
		}
		list = append(list, place)
		out.file(strings.TrimPrefix(place, "/"), 0o644, data)
		return nil
	}
	for _, name := range modules {
		if err := add(name); err != nil {
			return err
		}
	}
	out.file("etc/modules", 0o644, []byte(strings.Join(list, "\n")+"\n"))
	return nil
}

// dependenciesOf returns the names of the modules that one says to depend on.
func dependenciesOf(module []byte) ([]string, error) {
	parsed, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return nil, err
	}
	section := parsed.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("it has no .modinfo")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	for field := range strings.SplitSeq(string(info), "\x00") {
		if names, ok := strings.CutPrefix(field, "depends="); ok {
			return strings.FieldsFunc(strings.ReplaceAll(names, "-", "_"), func(r rune) bool { return r == ',' }), nil
		}
	}
	return nil, nil
}

// one returns the only file that fits a pattern.
func one(pattern string) (string, error) {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return "", err
	}
	if len(files) != 1 {
		return "", fmt.Errorf("%d files are %s, and one should be", len(files), pattern)
	}
	return files[0], nil
}

// deadline is for a program on a busy machine.
const deadline = 20 * time.Minute

// run runs a program.
func run(program string, args ...string) error {
	_, err := output(program, args...)
	return err
}

// output runs a program, and returns what it wrote.
func output(program string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.Bytes(), nil
}
