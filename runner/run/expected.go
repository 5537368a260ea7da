package run

import (
	"cmp"

	"github.com/plumbline-dev/plumbline/api/v1alpha1"
	"github.com/plumbline-dev/plumbline/driver/job"
)

// Expected is what the state service has to have, as far as the last Runs say; nothing where the state lies elsewhere.
func Expected(lies *v1alpha1.StatePlace) job.Expected {
	if lies == nil || lies.Type != job.OwnBackend {
		return job.Expected{}
	}
	return job.Expected{Lineage: lies.Lineage, Serial: lies.Serial, Store: lies.StoreID}
}

// given is the place that a Run is noted to have been given. Of a state that is moved nobody knows yet what it will be
// called where it goes to.
func (p places) given() v1alpha1.StatePlace {
	place := p.wanted
	if p.former == nil {
		return place
	}
	place.Serial, place.StoreID = 0, ""
	if place.Type == job.OwnBackend {
		place.Lineage = ""
	}
	return place
}

// Unexpect forgets what is known of the state: a person has said what to go on with.
func Unexpect(p *v1alpha1.StatePlace) { p.Lineage, p.Serial, p.StoreID = "", 0, "" }

// withApplied completes what is known of a state in the state service by what the last apply left. From before this was
// kept with the place only the serial is known.
func withApplied(p *v1alpha1.StatePlace, applied *v1alpha1.Applied) {
	if p.Type != job.OwnBackend || applied == nil || applied.StoreID == "" && p.Serial > 0 {
		return
	}
	p.Lineage = cmp.Or(p.Lineage, applied.Lineage)
	p.StoreID = cmp.Or(p.StoreID, applied.StoreID)
	p.Serial = max(p.Serial, applied.StateSerial)
}

// inherit completes what a Run found in a place by what was known of it before.
func inherit(p, before *v1alpha1.StatePlace) {
	if before == nil || before.Digest != p.Digest {
		return
	}
	p.Lineage = cmp.Or(p.Lineage, before.Lineage)
	p.StoreID = cmp.Or(p.StoreID, before.StoreID)
	if p.Lineage == before.Lineage {
		p.Serial = max(p.Serial, before.Serial)
	}
}

// expect tells a Run what is known of the state where it lies. Forget is about other backends: what becomes of a state
// that the state service lacks is said by plumbline.dev/adopt-state.
func expect(wanted *v1alpha1.StatePlace, lies v1alpha1.StatePlace, change v1alpha1.BackendChange) {
	if change == v1alpha1.BackendForget && lies.Type != job.OwnBackend {
		return
	}
	wanted.Lineage, wanted.Serial, wanted.StoreID = lies.Lineage, lies.Serial, lies.StoreID
}
