"""How long a process may be silent or busy, so that one taken for dead changes nothing afterwards.

A producer gives a record up before the group takes its process for dead, and a revoke ends before the group goes on
without us: whoever owns a partition next finds all that its owner before will ever do.
"""

__all__ = ["DELIVERY_TIMEOUT_S", "REBALANCE_TIMEOUT_S", "REVOKE_BUDGET_S", "SESSION_TIMEOUT_S"]

#: For so long the partitions of a process that died wait for another.
SESSION_TIMEOUT_S = 15.0
#: What Kafka has not acknowledged by then is given up, and sent again by whoever still owns the partition.
DELIVERY_TIMEOUT_S = 10.0
#: For so long a rebalance waits for a process that is busy.
REBALANCE_TIMEOUT_S = 30.0
#: What a revoke may take.
REVOKE_BUDGET_S = 20.0
