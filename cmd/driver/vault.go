package main

import (
	"context"

	"k8s.io/utils/clock"

	"github.com/plumbline-dev/plumbline/driver"
	"github.com/plumbline-dev/plumbline/driver/credentials"
)

func login(ctx context.Context, cfg credentials.Config) (driver.Session, error) {
	cfg.Clock = clock.RealClock{}
	return credentials.Login(ctx, cfg)
}
