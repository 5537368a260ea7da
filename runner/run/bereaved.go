package run

import "github.com/plumbline-dev/plumbline/api/v1alpha1"

// bereaved marks a Run whose driver ended without a word: nobody has revoked what it may have got from Vault. The mark
// is written together with the Run's end, so that no restart of the controller loses it; package revoke acts on it.
func bereaved(in Input, d Decision) {
	if d.Result == nil && in.Run.Status.StartedAt != nil && in.Workspace != nil && in.Workspace.UsesVault() {
		in.Run.Status.Revocation = v1alpha1.RevocationPending
	}
}
