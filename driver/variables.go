package driver

import (
	"slices"

	"github.com/hashicorp/terraform-exec/tfexec"

	"github.com/plumbline-dev/plumbline/driver/job"
)

const (
	// variablesFile is the file of the Spec that has the values of spec.variables. Drivers of earlier releases put it into
	// the work folder under this name.
	variablesFile = "terraform.tfvars.json"
	// ownVariables is where they are put instead: the source may have a terraform.tfvars.json of its own, which counts for
	// what the Workspace doesn't say. Every command of an engine loads the name by itself, after (nearly) all other files
	// that it loads: OpenTofu evaluates variables of encryption and of module addresses wherever it reads a state or a
	// configuration. What plans and applies is told of the file besides, which no file of the source comes after.
	ownVariables = "~plumbline.auto.tfvars.json"
)

// varFiles are options for plan and apply. The last one wins.
func (r *run) varFiles() []*tfexec.VarFileOption {
	var files []*tfexec.VarFileOption
	if slices.ContainsFunc(r.spec.Files, func(f job.File) bool { return f.Path == variablesFile }) {
		files = append(files, tfexec.VarFile(ownVariables))
	}
	if r.access.varFile != "" {
		files = append(files, tfexec.VarFile(r.access.varFile))
	}
	return files
}
