package workdir

import (
	"path"
	"strings"
)

// left are patterns of what Terraform leaves in a root module's folder wherever it runs. None of it is configuration: a
// state of a desk would be taken for this Workspace's, and a selected workspace would lead to another one.
var left = []string{
	"errored.tfstate",
	"terraform.tfstate", "terraform.tfstate.*", // backups, and the states of selected workspaces
	"*.tfstate.lock.info",
	"crash.log", "crash.*.log",
}

// downloads are the folders of .terraform that may have been put into an image on purpose. Terraform checks what is in
// them against the configuration and the lock file.
var downloads = []string{"modules", "providers"}

// Leftover tells whether a file or folder of a root module, by its relative path, is left from runs of Terraform
// elsewhere. It is not taken along.
func Leftover(name string) bool {
	first, rest, below := strings.Cut(name, "/")
	if first == ".terraform" {
		return below && !isDownload(rest)
	}
	for _, pattern := range left {
		if ok, _ := path.Match(pattern, first); ok { // the patterns are right
			return true
		}
	}
	return false
}

func isDownload(name string) bool {
	for _, dir := range downloads {
		if name == dir || strings.HasPrefix(name, dir+"/") {
			return true
		}
	}
	return false
}
