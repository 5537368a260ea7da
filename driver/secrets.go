package driver

// keepSecret takes note of values that must be told to nobody.
func (r *run) keepSecret(values ...string) { r.secrets = append(r.secrets, values...) }
