FROM diff-base
RUN --mount=type=secret,id=token --mount=type=secret,id=other,dst=/b cat /run/secrets/token /b > /seen
# with: --secret id=token,src={context}/a.txt --secret id=other,src={context}/b.txt
