package server

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-dev/plumbline/driver/job"
)

// claims is what a token says of itself, before anybody has checked its signature. It is good for refusing only.
type claims struct {
	Issuer   string   `json:"iss"`
	Subject  string   `json:"sub"`
	Audience audience `json:"aud"`
	Expires  float64  `json:"exp"`
}

// audience is one word, or a list of them.
type audience []string

// UnmarshalJSON takes both forms.
func (a *audience) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*a = audience{one}
		return nil
	}
	if err := json.Unmarshal(b, (*[]string)(a)); err != nil {
		return fmt.Errorf("reading aud: %w", err)
	}
	return nil
}

const (
	// maxToken is more than any ServiceAccount's token has.
	maxToken = 16 << 10
	// late forgives a clock of ours that is ahead of the API server's.
	late = time.Minute
)

// plausible refuses what no API server would accept as a ServiceAccount's token for the state service, so that nobody
// has to be asked about it.
func plausible(token string, now time.Time) error {
	parts := strings.Split(token, ".")
	if len(token) > maxToken || len(parts) != 3 {
		return fmt.Errorf("%w: the token is none of a service account", ErrUnauthenticated)
	}
	var c claims
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &c) != nil {
		return fmt.Errorf("%w: the token can't be read", ErrUnauthenticated)
	}
	switch {
	case c.Issuer == "" || !strings.HasPrefix(c.Subject, serviceUser):
		return fmt.Errorf("%w: the token is none of a service account", ErrUnauthenticated)
	case !slices.Contains(c.Audience, job.StateAudience):
		return fmt.Errorf("%w: the token is not for audience %s", ErrUnauthenticated, job.StateAudience)
	case now.Add(-late).Unix() > int64(c.Expires):
		return fmt.Errorf("%w: the token has expired", ErrUnauthenticated)
	}
	return nil
}
