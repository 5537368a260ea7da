package driver

import (
	"encoding/json"
	"slices"
)

// stateIndex finds the instances in a state.
type stateIndex map[string][]instance

// instance is an object of a resource instance, as states of format 4 have it.
type instance struct {
	Key        json.RawMessage            `json:"index_key"`
	Deposed    string                     `json:"deposed"`
	Attributes map[string]json.RawMessage `json:"attributes"`
}

// indexState reads a state; it is nil for one that can't be read, such as an encrypted one.
func indexState(state []byte) stateIndex {
	var told struct {
		Version   int `json:"version"`
		Resources []struct {
			Module    string     `json:"module"`
			Mode      string     `json:"mode"`
			Type      string     `json:"type"`
			Name      string     `json:"name"`
			Instances []instance `json:"instances"`
		} `json:"resources"`
	}
	if len(state) == 0 {
		return stateIndex{}
	}
	if json.Unmarshal(state, &told) != nil || told.Version != 4 {
		return nil
	}
	index := stateIndex{}
	for _, r := range told.Resources {
		if r.Mode != "managed" {
			continue
		}
		for _, i := range r.Instances {
			key := address{Module: r.Module, Type: r.Type, Name: r.Name, Key: i.Key}.key()
			index[key] = append(index[key], i)
		}
	}
	return index
}

// key is what an address and an instance of a state have in common.
func (a address) key() string {
	var key any
	_ = json.Unmarshal(a.Key, &key) // none is null
	b, _ := json.Marshal([]any{a.Module, a.Type, a.Name, key})
	return string(b)
}

// covers tells whether the very thing stands in the state.
func (x stateIndex) covers(i item) bool {
	return slices.ContainsFunc(x[i.key()], func(in instance) bool {
		if in.Deposed != "" {
			return false
		}
		if i.IDKey == "" {
			return !i.Replaces // it may be what it was to replace
		}
		var id string
		return json.Unmarshal(in.Attributes[i.IDKey], &id) == nil && id == i.IDValue
	})
}

// occupied tells whether something else stands at the thing's address: what it was to replace.
func (x stateIndex) occupied(i item) bool { return len(x[i.key()]) > 0 }

// uncovered are the items that don't stand in the state; all of them if it can't be read.
func uncovered(items []item, state []byte) []item {
	if len(items) == 0 {
		return nil
	}
	index := indexState(state)
	return slices.DeleteFunc(slices.Clone(items), index.covers)
}
