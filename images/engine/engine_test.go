package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func silent(string, ...any) {}

func TestFindOnTheMachine(t *testing.T) {
	const (
		good = "#!/bin/sh\necho '{\"terraform_version\": \"1.9.0\"}'\n"
		old  = "#!/bin/sh\necho '{\"terraform_version\": \"1.2.0\"}'\n"
	)
	tests := map[string]struct {
		binaries map[string]string
		name     string
		want     string
	}{
		"terraform first":         {map[string]string{Terraform: good, Tofu: good}, "", Terraform},
		"the one asked for":       {map[string]string{Terraform: good, Tofu: good}, Tofu, Tofu},
		"terraform insisted on":   {map[string]string{Terraform: good}, Terraform, Terraform},
		"tofu whatever terraform": {map[string]string{Terraform: old, Tofu: good}, Tofu, Tofu},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			for binary, script := range test.binaries {
				if err := os.WriteFile(filepath.Join(folder, binary), []byte(script), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("PATH", folder+":/bin:/usr/bin")
			got, err := Find(t.Context(), silent, test.name)
			if want := filepath.Join(folder, test.want); err != nil || got != want {
				t.Errorf("got %q, %v; want %q", got, err, want)
			}
		})
	}
}

func TestFindRefuses(t *testing.T) {
	if _, err := Find(t.Context(), silent, "pulumi"); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %v, want %v", err, ErrUnknown)
	}
}

// An old Terraform is passed over, and a fetch that was ended says so instead of hanging.
func TestFindSkipsAnOldTerraform(t *testing.T) {
	folder := t.TempDir()
	script := "#!/bin/sh\necho '{\"terraform_version\": \"1.2.0\"}'\n"
	if err := os.WriteFile(filepath.Join(folder, Terraform), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+":/bin:/usr/bin")
	t.Setenv("PLUMBLINE_CACHE", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if path, err := Find(ctx, silent, Terraform); !errors.Is(err, context.Canceled) {
		t.Errorf("got %q, %v; want %v", path, err, context.Canceled)
	}
}
