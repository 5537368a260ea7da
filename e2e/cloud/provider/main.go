// Command terraform-provider-cloud manages things in the tests' cloud, and misbehaves as that tells it to.
//
//	Terraform --gRPC--> provider --begin(op)--> cloud --orders--> provider: fail, print, eat, ...
//	                             --things-----> cloud
//
// It is a module of its own, so that the product's go.mod knows nothing of Terraform's plugin framework.
package main

import (
	"cmp"
	"context"
	"log"
	"os"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/provider/schema"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

func main() {
	err := providerserver.Serve(context.Background(), func() provider.Provider { return cloudProvider{} },
		providerserver.ServeOpts{Address: "registry.terraform.io/plumbline-dev/cloud"})
	if err != nil {
		log.Fatal(err)
	}
}

type cloudProvider struct{}

type providerConfig struct {
	Endpoint types.String `tfsdk:"endpoint"`
	Space    types.String `tfsdk:"space"`
	Token    types.String `tfsdk:"token"`
}

func (cloudProvider) Metadata(_ context.Context, _ provider.MetadataRequest, res *provider.MetadataResponse) {
	res.TypeName = "cloud"
}

func (cloudProvider) Schema(_ context.Context, _ provider.SchemaRequest, res *provider.SchemaResponse) {
	res.Schema = schema.Schema{Attributes: map[string]schema.Attribute{
		"endpoint": schema.StringAttribute{Required: true, Description: "base URL of the cloud's API"},
		"space":    schema.StringAttribute{Required: true, Description: "part of the cloud that belongs to one test"},
		"token": schema.StringAttribute{
			Optional: true, Sensitive: true, Description: "what the provider has to show; CLOUD_TOKEN otherwise",
		},
	}}
}

func (cloudProvider) Configure(ctx context.Context, req provider.ConfigureRequest, res *provider.ConfigureResponse) {
	var config providerConfig
	res.Diagnostics.Append(req.Config.Get(ctx, &config)...)
	if res.Diagnostics.HasError() {
		return
	}
	api := client{
		base:  config.Endpoint.ValueString() + "/spaces/" + config.Space.ValueString(),
		token: cmp.Or(config.Token.ValueString(), os.Getenv("CLOUD_TOKEN")),
	}
	if o := api.operation(ctx, "configure", &res.Diagnostics); o.begin() {
		res.ResourceData = api
		o.end()
	}
}

func (cloudProvider) Resources(context.Context) []func() resource.Resource {
	return []func() resource.Resource{func() resource.Resource { return &thing{} }}
}

func (cloudProvider) DataSources(context.Context) []func() datasource.DataSource { return nil }
