package v1alpha1

import (
	"bytes"
	"encoding/json"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

var null = []byte("null")

// UnmarshalJSON tells a value that is null, which Terraform is to get, from none at all.
func (v *Variable) UnmarshalJSON(b []byte) error {
	type plain Variable // without this method
	if err := json.Unmarshal(b, (*plain)(v)); err != nil {
		return err
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return err
	}
	if bytes.Equal(fields["value"], null) {
		v.Value = &apiextensionsv1.JSON{Raw: bytes.Clone(null)}
	}
	return nil
}
