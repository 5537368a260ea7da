package images

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// bundle is where Go programs, and most others, look for CA certificates.
const bundle = "/etc/ssl/certs/ca-certificates.crt"

// Rootfs makes what each image has beside its binary: the building machine's CA certificates and the folders that a
// container runtime would otherwise have to make as mount points.
func Rootfs(folder string) error {
	for _, name := range []string{"etc/ssl/certs", "usr/local/bin", "job", "workspace", "credentials"} {
		if err := os.MkdirAll(filepath.Join(folder, name), 0o755); err != nil {
			return fmt.Errorf("making the image's folders: %w", err)
		}
	}
	temp := filepath.Join(folder, "tmp")
	if err := errors.Join(os.MkdirAll(temp, 0o755), os.Chmod(temp, 0o777|os.ModeSticky)); err != nil {
		return fmt.Errorf("making the image's folders: %w", err)
	}
	data, err := os.ReadFile(bundle)
	if err != nil {
		return fmt.Errorf("reading CA certificates: %w", err)
	}
	if err := os.WriteFile(filepath.Join(folder, bundle), data, 0o644); err != nil {
		return fmt.Errorf("writing CA certificates: %w", err)
	}
	return nil
}

// certificates writes the bundle that the images trust: Debian's own set where there is one, so that what only this
// machine trusts (a proxy, a test CA) stays on this machine.
func certificates(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("making the certificates' folder: %w", err)
	}
	files, err := filepath.Glob("/usr/share/ca-certificates/mozilla/*.crt")
	if err != nil || len(files) == 0 {
		files = []string{bundle}
	}
	var all []byte
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("reading CA certificates: %w", err)
		}
		all = append(all, data...)
	}
	if err := os.WriteFile(filepath.Join(folder, filepath.Base(bundle)), all, 0o644); err != nil {
		return fmt.Errorf("writing CA certificates: %w", err)
	}
	return nil
}
