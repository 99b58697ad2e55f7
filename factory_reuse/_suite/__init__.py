"""What pytest's plugin shows of a suite: which factories its tests call, and what that costs."""
