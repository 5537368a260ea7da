//go:build e2e

package cluster

import authenticationv1 "k8s.io/api/authentication/v1"

func tokenRequest(audience string) *authenticationv1.TokenRequest {
	return &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}}}
}

func tokenReview(token, audience string) *authenticationv1.TokenReview {
	return &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{audience}},
	}
}
