package driver

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// TestFilesOfAnotherHandAreNotUsed: what is mounted is used only if it is what the controller rendered.
func TestFilesOfAnotherHandAreNotUsed(t *testing.T) {
	for _, test := range []struct {
		name string
		harm func(b *bench)
		want job.Class
	}{
		{"as it was rendered", func(*bench) {}, job.NoChanges},
		{"the kubelet's own folders", func(b *bench) { b.must(os.Mkdir(filepath.Join(b.cfg.Paths.Spec, "..data"), 0o700)) },
			job.NoChanges},
		{"an older controller doesn't say", func(b *bench) {
			b.cfg.Params.FilesDigest = ""
			b.rewrite("file-main.tf", "x")
		}, job.NoChanges},
		{"another file", func(b *bench) { b.rewrite("file-main.tf", "x") }, job.ConfigInvalid},
		{"another spec", func(b *bench) { b.rewrite(job.SpecFile, `{"version":1,"imagePath":"/evil"}`) }, job.ConfigInvalid},
		{"one more key", func(b *bench) { b.rewrite("file-more.tf", "") }, job.ConfigInvalid},
		{"a key less", func(b *bench) { b.must(os.Remove(filepath.Join(b.cfg.Paths.Spec, "file-main.tf"))) },
			job.ConfigInvalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			b.useFake("nochange")
			b.file("main.tf", "")
			b.writeSpec()
			b.cfg.Params.FilesDigest = job.DigestFiles(b.given())
			test.harm(b)
			got := Run(t.Context(), b.cfg)
			if got.Class != test.want || got.Class == job.ConfigInvalid &&
				!strings.Contains(got.Message, "does not hold what the controller rendered") {
				t.Errorf("%s: %s", got.Class, got.Message)
			}
			_, err := os.Stat(filepath.Join(b.cfg.Paths.Work, "calls.init"))
			if started := err == nil; started != (test.want == job.NoChanges) {
				t.Errorf("the engine was started: %v", started)
			}
		})
	}
}

func (b *bench) rewrite(key, content string) {
	b.must(os.WriteFile(filepath.Join(b.cfg.Paths.Spec, key), []byte(content), 0o600))
}

// TestExecutableFiles: a file is executable where it was asked for, and nowhere else.
func TestExecutableFiles(t *testing.T) {
	b := newBench(t)
	b.file("bin/build.sh", "#!/bin/sh")
	b.spec.Files[0].Executable = true
	b.file("main.tf", "")
	b.must((&run{Config: b.cfg, spec: b.spec, given: b.given()}).fillWorkDir())
	for path, want := range map[string]os.FileMode{"bin/build.sh": 0o700, "main.tf": 0o600} {
		info, err := os.Stat(filepath.Join(b.cfg.Paths.Work, path))
		b.must(err)
		if info.Mode() != want {
			t.Errorf("%s has mode %s, want %s", path, info.Mode(), want)
		}
	}
}
