"""What is asked of an engine, the models it trains, and the engines themselves."""
