FROM diff-base
RUN grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | sed -n 's/^CapBnd:.//p' > /bounding
