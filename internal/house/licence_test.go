// SPDX-License-Identifier: Apache-2.0

package house

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

// licences says what the first lines of a file must name, by its ending.
// Programs that the kernel runs call GPL-only helpers, so they are GPL.
var licences = map[string]string{
	".go": "Apache-2.0",
	".sh": "Apache-2.0",
	".c":  "GPL-2.0",
	".h":  "GPL-2.0",
}

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

func TestEveryFileNamesItsLicence(t *testing.T) {
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == ".git" || entry.Name() == "dist"):
			return filepath.SkipDir
		case !entry.Type().IsRegular() || licences[filepath.Ext(path)] == "":
			return nil
		}
		checkLicence(t, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func checkLicence(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := "SPDX-License-Identifier: " + licences[filepath.Ext(path)]
	head := string(text[:min(len(text), 300)])
	if !strings.Contains(head, want) && !generated.Match(text) {
		t.Errorf("%s: write %q at its top", strings.TrimPrefix(path, root+"/"), want)
	}
}
