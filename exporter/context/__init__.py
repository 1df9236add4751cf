"""What explains an incident from outside its series: deploys of its owner."""
