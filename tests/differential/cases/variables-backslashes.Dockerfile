FROM scratch
COPY a.txt /
ENV A=a\\b B="a\\b" C='a\\b' D="a\b" E=a\b
