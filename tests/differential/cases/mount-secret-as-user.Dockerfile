FROM diff-base
USER alice
RUN --mount=type=secret,id=token,uid=1000 cat /run/secrets/token > /tmp/seen
# with: --secret id=token,src={context}/a.txt --secret id=other,src={context}/b.txt
