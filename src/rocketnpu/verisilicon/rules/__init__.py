"""The published rules by which these NPUs take an operator."""
