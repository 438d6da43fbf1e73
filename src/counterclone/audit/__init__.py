"""How cheaply a model can be copied through its answers: published attacks, counted and priced."""
