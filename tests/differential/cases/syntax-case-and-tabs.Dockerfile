from diff-base As Build
	run echo tab > /tab
env  A=1   B=2
from diff-base
	copy --from=BUILD /tab /again
