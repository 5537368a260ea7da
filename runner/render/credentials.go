package render

import (
	"maps"
	"slices"
	"strconv"
)

// writeAsked adds to the digest what is asked of Vault and of the kubelet. A Workspace that asks for nothing keeps the
// digest that it had before there was this.
func writeAsked(in Inputs, write func(parts ...string)) {
	if len(in.Vault) > 0 {
		write("vault", strconv.Itoa(len(in.Vault)))
	}
	for _, v := range in.Vault {
		write(v.Name, v.Role, v.Path, strconv.FormatBool(v.Write), strconv.Itoa(len(v.Parameters)))
		for _, name := range slices.Sorted(maps.Keys(v.Parameters)) {
			write(name, canonical(v.Parameters[name]))
		}
		for _, to := range []map[string]string{v.Env, v.Files, v.Variables} {
			write(strconv.Itoa(len(to)))
			for _, name := range slices.Sorted(maps.Keys(to)) {
				write(name, to[name])
			}
		}
	}
	if len(in.Tokens) > 0 {
		write("tokens", strconv.Itoa(len(in.Tokens)))
	}
	for _, t := range in.Tokens {
		write(t.Name, t.Audience, t.Env)
	}
}
