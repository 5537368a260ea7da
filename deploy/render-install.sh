#!/usr/bin/env bash
# Renders the chart as one file for people without Helm. $helm is the Helm to use; the result goes to standard output.
set -euo pipefail
cd "$(dirname "$0")"
cat <<'HEADER'
# Plumbline as one file, generated from deploy/chart by `make generate`. The definitions come first, on their own,
# because kubectl looks every kind up before it makes anything:
#
#   kubectl apply --server-side -f deploy/crds/
#   kubectl apply --server-side -f deploy/install.yaml
apiVersion: v1
kind: Namespace
metadata:
  name: plumbline-system
  labels:
    app.kubernetes.io/name: plumbline
    pod-security.kubernetes.io/enforce: restricted
HEADER
"$helm" template plumbline chart --namespace plumbline-system --kube-version 1.36.3
