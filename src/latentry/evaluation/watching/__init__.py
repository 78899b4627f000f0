"""What looks on while images become statistics, so that none is read or drawn twice."""
