//go:build integration

package v1alpha1_test

import "testing"

func TestBackendIsValidated(t *testing.T) {
	check(t, "Workspace", []row{
		{"any type", source + "backend: {type: s3, config: {bucket: b, use_lockfile: true, endpoints: {s3: 'x'}}}", ""},
		{"with a Secret alone", source + "backend: {type: pg, secretRef: {name: s}}", ""},
		{"what may come of a change", source + "backend: {type: gcs}\nbackendChange: Migrate", ""},
		{"no type", source + "backend: {config: {bucket: b}}", "spec.backend.type"},
		{"a type that is no name", source + "backend: {type: 'S3 '}", "type is the name of a Terraform backend"},
		{"the Pod's disk", source + "backend: {type: local}", "a local state would be gone with the Run's Pod"},
		{"somebody else's runs", source + "backend: {type: remote}", "remote and cloud run Terraform elsewhere"},
		{"or in their cloud", source + "backend: {type: cloud}", "remote and cloud run Terraform elsewhere"},
		{"our own by name", source + "backend: {type: plumbline}", "leave backend out"},
		{"a Secret without a name", source + "backend: {type: pg, secretRef: {}}", "secretRef.name"},
		{"keys of its Secret", source + "backend: {type: pg, secretRef: {name: s, keys: {A: b}}}",
			"the secretRef of a backend has no keys"},
		{"something else to come of a change", source + "backendChange: Overwrite", "backendChange"},
	})
}
