FROM diff-base
RUN for f in /proc/kcore /proc/keys /proc/timer_list; do test -s $f && echo $f; done > /list; true
