package main

import (
	"context"
	"encoding/base64"
	"errors"
	"hash/fnv"
	"math/rand/v2"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// thing is the resource cloud_thing.
type thing struct{ api client }

type thingModel struct {
	Name       types.String `tfsdk:"name"`
	Value      types.String `tfsdk:"value"`
	BallastMiB types.Int64  `tfsdk:"ballast_mib"`
	Ballast    types.String `tfsdk:"ballast"`
}

func (*thing) Metadata(_ context.Context, _ resource.MetadataRequest, res *resource.MetadataResponse) {
	res.TypeName = "cloud_thing"
}

func (*thing) Schema(_ context.Context, _ resource.SchemaRequest, res *resource.SchemaResponse) {
	res.Schema = schema.Schema{Attributes: map[string]schema.Attribute{
		"name": schema.StringAttribute{
			Required: true, PlanModifiers: []planmodifier.String{stringplanmodifier.RequiresReplace()},
		},
		"value": schema.StringAttribute{Required: true},
		"ballast_mib": schema.Int64Attribute{
			Optional: true, Description: "size of the ballast, which makes the state large and hardly compressible",
		},
		"ballast": schema.StringAttribute{
			Computed: true, PlanModifiers: []planmodifier.String{stringplanmodifier.UseStateForUnknown()},
		},
	}}
}

func (t *thing) Configure(_ context.Context, req resource.ConfigureRequest, _ *resource.ConfigureResponse) {
	if api, ok := req.ProviderData.(client); ok {
		t.api = api
	}
}

func (t *thing) Create(ctx context.Context, req resource.CreateRequest, res *resource.CreateResponse) {
	var m thingModel
	res.Diagnostics.Append(req.Plan.Get(ctx, &m)...)
	o := t.api.operation(ctx, "create", &res.Diagnostics)
	if res.Diagnostics.HasError() || !o.begin() {
		return
	}
	if failed(&res.Diagnostics, t.api.create(ctx, m.Name.ValueString(), m.Value.ValueString())) {
		return
	}
	// A cloud that fails after the deed leaves Terraform without a trace of what was made.
	if o.end(); res.Diagnostics.HasError() {
		return
	}
	m.Ballast = ballast(m)
	res.Diagnostics.Append(res.State.Set(ctx, m)...)
}

func (t *thing) Read(ctx context.Context, req resource.ReadRequest, res *resource.ReadResponse) {
	var m thingModel
	res.Diagnostics.Append(req.State.Get(ctx, &m)...)
	o := t.api.operation(ctx, "read", &res.Diagnostics)
	if res.Diagnostics.HasError() || !o.begin() {
		return
	}
	value, err := t.api.get(ctx, m.Name.ValueString())
	if errors.Is(err, errNotFound) {
		res.State.RemoveResource(ctx)
		return
	}
	if failed(&res.Diagnostics, err) {
		return
	}
	m.Value = types.StringValue(value)
	o.end()
	res.Diagnostics.Append(res.State.Set(ctx, m)...)
}

func (t *thing) Update(ctx context.Context, req resource.UpdateRequest, res *resource.UpdateResponse) {
	var m thingModel
	res.Diagnostics.Append(req.Plan.Get(ctx, &m)...)
	o := t.api.operation(ctx, "update", &res.Diagnostics)
	if res.Diagnostics.HasError() || !o.begin() {
		return
	}
	if failed(&res.Diagnostics, t.api.put(ctx, m.Name.ValueString(), m.Value.ValueString())) {
		return
	}
	o.end()
	m.Ballast = ballast(m)
	res.Diagnostics.Append(res.State.Set(ctx, m)...)
}

func (t *thing) Delete(ctx context.Context, req resource.DeleteRequest, res *resource.DeleteResponse) {
	var m thingModel
	res.Diagnostics.Append(req.State.Get(ctx, &m)...)
	o := t.api.operation(ctx, "delete", &res.Diagnostics)
	if res.Diagnostics.HasError() || !o.begin() {
		return
	}
	if !failed(&res.Diagnostics, t.api.remove(ctx, m.Name.ValueString())) {
		o.end()
	}
}

func failed(diags *diag.Diagnostics, err error) bool {
	if err != nil {
		diags.AddError("The cloud answered with an error", err.Error())
	}
	return err != nil
}

// ballast is the same for the same name.
func ballast(m thingModel) types.String {
	h := fnv.New64()
	_, _ = h.Write([]byte(m.Name.ValueString()))
	random := rand.New(rand.NewPCG(h.Sum64(), 0)) //nolint:gosec // it has to be large, not secret
	raw := make([]byte, m.BallastMiB.ValueInt64()<<20*3/4)
	for i := range raw {
		raw[i] = byte(random.Uint32())
	}
	return types.StringValue(base64.StdEncoding.EncodeToString(raw))
}
