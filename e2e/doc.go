// Package e2e tests Plumbline as users have it: the images, the chart, a real Kubernetes, real Terraform with real
// providers, and one provider that misbehaves when told to (cloud). Run it with `make e2e`.
//
//	path_test.go      what is promised when all goes well
//	input_test.go     what people get wrong
//	pod_test.go       what happens to Pods
//	provider_test.go  what providers do
//	deletion_test.go  Workspaces and namespaces that go away
//	access_test.go    who may touch a state
//	system_test.go    what happens to the cluster and to Plumbline itself; these run alone, before the others
package e2e
