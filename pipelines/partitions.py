"""One dynamic partition per release and mission."""

import dagster as dg

from lake import contracts

RELEASES = {
    mission: dg.DynamicPartitionsDefinition(name=f"{mission}_releases")
    for mission in contracts.missions()
}
